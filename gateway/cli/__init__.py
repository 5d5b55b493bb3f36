"""The command line: one file a command, or a group of them.

main.py      which commands there are
console.py   how they print, fail, and reach the stack
follow.py    a campaign's progress       plan_view.py, contact_sheet.py
"""
