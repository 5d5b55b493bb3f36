"""What pages are made of. A module each; the look of all is in static/theme.css.

heads.py       the head of a page, and of a part of it
live.py        what is read again and again, with its loading, failing and empty states
states.py      those states
badge.py       a state in a word and a colour
tiles.py       figures in a row
gauge.py       how much of how much
data_table.py  rows that live: links, badges, times, thumbnails, buttons
moment.py      a time, in the visitor's own zone, and how long ago or how soon
acts.py        buttons that do something, and say what came of it
ask.py         a dialog before what costs or cannot be undone
snippet.py     code or JSON to read and to copy
file_drop.py   a file to choose, or to drop
media.py       a picture, film, sound or text
"""
