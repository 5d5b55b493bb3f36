"""The playground: choose an endpoint, fill in its form, run, look, vary."""

from gateway.web.playground import compare, history, page, runs  # noqa: F401 -- its pages
