"""What each hosted endpoint takes, gives back and costs, and how often it may be called.

endpoint = load_catalogue().find("black-forest-labs-flux-1-dev")
problems = endpoint.check({"prompt": "a fox", "width": 1000})
cost = estimate(endpoint, {"prompt": "a fox"})
"""

from endpoints.catalogue.catalogue import Catalogue
from endpoints.catalogue.entry import Endpoint, Kind, Output, Price
from endpoints.catalogue.limits import Limit, Operation
from endpoints.catalogue.loading import CatalogueError, load_catalogue
from endpoints.catalogue.price import Basis, Estimate, bill, estimate
from endpoints.catalogue.problem import Fault, Problem
from endpoints.catalogue.result import FileRef, Result, read_result

__all__ = [
    "Basis",
    "Catalogue",
    "CatalogueError",
    "Endpoint",
    "Estimate",
    "Fault",
    "FileRef",
    "Kind",
    "Limit",
    "Operation",
    "Output",
    "Price",
    "Problem",
    "Result",
    "bill",
    "estimate",
    "load_catalogue",
    "read_result",
]
