"""Pictures of the pages, for the documents; with how soon each is there, and what axe-core says."""
