"""Traffic for load, demos and monitoring: a corpus, a rate, ground truth, and the check that nothing was lost."""
