"""Mails: their words, their form, and the ways they leave. Knows neither the database nor HTTP."""
