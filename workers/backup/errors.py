"""Errors of backups; their text is meant for a person and says what to do.

BackupError
+- NoBackup       the folder, or the name in it, holds none
+- BackupDamaged  it is not as it was written
+- BackupRefused  something stands against it; nothing was changed
+- BackupFailed   it was begun and came to nothing
"""

from models.errors import PressroomError


class BackupError(PressroomError):
    """The base."""


class NoBackup(BackupError):
    """There is no such backup."""


class BackupDamaged(BackupError):
    """A file of it is missing, or is not what was written."""


class BackupRefused(BackupError):
    """Something stands against it; nothing was changed."""


class BackupFailed(BackupError):
    """It was begun, and what was made of it is gone again."""
