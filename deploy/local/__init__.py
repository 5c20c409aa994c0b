"""The whole stack on one machine: a real Kafka broker, the real ClickHouse engine, nothing to administer.

`stack` is the front: `running` for a demo or a test, `up`, `down` and `status` for a stack that stays.
"""
