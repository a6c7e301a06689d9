"""Telling people and systems what became of an order: mails and webhooks."""
