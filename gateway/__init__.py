"""The ways in.

cli/     the command line
app.py   over HTTP: for now the upstream's webhooks
hints.py what a webhook of the upstream is good for
reports/ what came of a campaign, as a page
"""
