"""Where the pages are."""

from nicegui import __version__ as nicegui_version

WEB = "/web"
FIRST = f"{WEB}/"  # the page that one comes to
GATEWAY = "pressroom.gateway"  # in the ASGI scope of what is under /web: whose pages they are
NICEGUI = f"{WEB}/_nicegui/{nicegui_version}"  # its own files
FONTS = f"{NICEGUI}/static/fonts.css"
