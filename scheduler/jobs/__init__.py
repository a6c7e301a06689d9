"""One file a job: a function of the application that returns what it did, as JSON, and `JOB`."""
