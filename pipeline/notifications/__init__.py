"""Telling people what became of an order: mails and pages."""
