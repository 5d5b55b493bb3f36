"""What pages are made of. A module each; the look of all is in static/theme.css.

heads.py       the head of a page, and of a part of it
live.py        what is read again and again, with its loading, failing and empty states
states.py      those states
no_entry.py    what a key may not see, and which scope that takes
piece.py       a part of it that is drawn anew when it is other
badge.py       a state in a word and a colour
tiles.py       figures in a row
gauge.py       how much of how much
wall.py        the same of a budget: spent, reserved, left
day_bars.py    money day by day, in columns
rank_bars.py   money ranked, in a table with bars
data_table.py  rows that live: links, badges, times, thumbnails, buttons
moment.py      a time, in the visitor's own zone, and how long ago or how soon
acts.py        buttons that do something, and say what came of it
ask.py         a dialog before what costs or cannot be undone
form_dialog.py a dialog with a form, which stays until it was done
address.py     what a page shows, kept in its address
snippet.py     code or JSON to read and to copy
file_drop.py   a file to choose, or to drop
media.py       a picture, film, sound or text
"""
