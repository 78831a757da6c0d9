"""`craton demo`: a day in the market, told in the terminal.

The market runs as a process of its own, with data of its own. It is killed in the middle of a checkout and started
again. At the end, the demo checks that orders, goods, money and mails fit together.
"""
