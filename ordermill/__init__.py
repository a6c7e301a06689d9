"""The command line: the one place that knows pipeline, workers and scheduler alike."""
