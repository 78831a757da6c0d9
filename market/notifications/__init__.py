"""Notifications: letters to users, sent by e-mail."""
