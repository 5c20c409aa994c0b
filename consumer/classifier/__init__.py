"""Text in, verdict out. No Kafka client is imported here, so a training or GPU machine needs none."""
