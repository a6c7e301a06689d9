"""dramatiq: the broker, one actor and queue a step, the worker process."""
