"""The pages that mails lead to: their words, their form and their one style sheet. Knows neither HTTP nor SQL."""
