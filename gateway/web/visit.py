"""One opening of a page: who it is for, and what it can ask."""

from dataclasses import dataclass

from gateway.web.api import Api
from models.key import Caller, Scope


@dataclass(frozen=True)
class Visit:
    """Args:
    api: asks as the visitor.
    path: of the page, without /web, as its links have it.
    theme: light or dark, as the visitor chose; None: as the system is.
    flower_url: where Flower is, if the visitor can reach it.
    emulated: the upstream is the emulator: what it draws is no model's, and costs nothing.
    """

    caller: Caller
    api: Api
    path: str
    theme: str | None
    flower_url: str | None
    emulated: bool

    @property
    def may_run(self) -> bool:
        return bool(self.caller.scopes & {Scope.RUN, Scope.OPERATE})

    @property
    def may_operate(self) -> bool:
        return self.caller.operates
