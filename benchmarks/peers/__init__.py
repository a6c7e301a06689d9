"""The same order chain, as competent teams write it on dramatiq, Celery and DBOS."""
