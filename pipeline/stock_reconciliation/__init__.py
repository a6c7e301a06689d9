"""Stock reconciliation: the books beside themselves, and beside what was counted on the shelves.

books      what the books say twice, and differently
counts     reading what was counted
compare    a count beside the books as of its time
act        what the policy does about a difference
causes     what probably happened, from what else is known
feeds      where counts come from: a folder, a URL, a file
reconcile  all of it, in one run
report     what was found, as a page and a table
"""
