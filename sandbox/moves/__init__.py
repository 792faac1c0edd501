"""The master moved and killed again and again while agents enrol, with books of who was let in."""
