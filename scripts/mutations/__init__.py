"""What mutants are made of, and how the tests are run against each: `scripts/mutants`."""
