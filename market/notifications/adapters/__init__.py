"""How mail is sent: by SMTP, or into a folder."""
