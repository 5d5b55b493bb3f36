"""Beat: ticks the sweep. Stock, and with nothing to lose: see `tasks/sweep.py`."""

from workers import telemetry
from workers.app import make_app
from workers.settings import Settings


def run_beat(settings: Settings) -> None:
    """Run until a signal."""
    telemetry.set_up(settings)
    app = make_app(settings)
    (settings.data_dir / "run").mkdir(parents=True, exist_ok=True)
    app.start(["beat", f"--loglevel={settings.log_level}", "--pidfile="])
