"""One file a job. A job is a function of the application that returns what it did, as JSON."""
