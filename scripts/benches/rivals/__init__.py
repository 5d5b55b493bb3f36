"""What the system is measured against. It runs in an environment of its own, `.venv/rivals`."""
