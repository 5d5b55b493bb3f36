"""Backup and restore: the database and the stored files, as they stood at one moment.

folder.py    what a folder of backups holds, and whether it is as it was written
make.py      one more backup in it
restore.py   the way back
programs.py  PostgreSQL's own programs for it
server.py    the embedded PostgreSQL, while the stack is down
"""
