"""Stand-ins for OpenSearch and Filebeat, named as such in all they print.

They keep of the real ones what a test of ours can tell apart: TLS with a checked certificate, a
user, bulk requests, and a note on disk of what was sent.
"""
