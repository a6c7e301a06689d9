"""The clock: a table of jobs, and a tick that lets each fire once, however many schedulers run."""
