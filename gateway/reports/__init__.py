"""What came of a campaign: collect.py reads it, campaign.html shows it in one file."""
