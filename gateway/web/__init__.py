"""The pages: a playground for those who try a model, a console for those who run the floor.

    app.py        how they are served: NiceGUI within the gateway, under /web
    policy.py     what a browser may load and run of them
    sessions.py   who is signed in: a cookie that stands for an API key
    login.py      signing in and out
    api.py        what pages know and do: the gateway's own API, as who is signed in
    page.py       how every page begins; visit.py: who it is for, and what it can ask
    frame.py      what stands around each page: brand, rooms, theme, sign out
    theme.py      colours, in one place with static/theme.css
    parts/        what pages are made of
    playground/   choose an endpoint, fill in its form, run, look, vary
    console/      floor, jobs, campaigns, schedules, money, keys, audit

A page asks the database nothing: it goes by the API, so it may do what its visitor's key may, and
all it shows can be had by programs too.
"""
