"""Programs that do what a form says, for developers to paste. No I/O: text from values.

request.py    what a program is to ask for
literals.py   any JSON as source text of a language, whatever is in its strings
languages.py  the languages, and what each has to say for itself
ai_sdk.py     the Vercel AI SDK, whose provider has arguments of its own
templates/    a program each, for run and for runsync
"""
