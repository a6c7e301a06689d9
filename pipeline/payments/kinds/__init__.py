"""The gateways that come with Ordermill, a file each: how it is opened, and what it says of itself.

They import the gateway when it is opened: what it needs may not be installed.
"""
