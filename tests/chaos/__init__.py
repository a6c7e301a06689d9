"""Everything that can break breaks, at random moments, under load; then the books must be right.

`test_chaos.py` is the short form; `python -m tests.chaos.soak` (`make soak`) the long one, with
`--embedded` for `ordermill up` on SQLite. A seed plans orders, faults and what operators do.

    home, shop              what there is to break, and what is sold there
    crew                    the processes, and who starts them anew
    feeder, operators,      who works with it: upstreams, people, and who lets orders grow old;
      archivist, caller       each call is made again until it is answered
    listeners               who follows: an endpoint for webhooks, a mirror of the feed
    faults, clocks,         what breaks, how often
      lossy_proxy
    journal, records,       what was answered; the database in plain SQL; memory, files, tables and
      gauges                  logs over time
    settling, verdict       how long it took, and whether all is right
    trial, soak             all of it in turn
"""
