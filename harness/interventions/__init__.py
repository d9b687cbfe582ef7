"""The network forwarded again with altered states: does its own answer follow the direction that a probe found?"""
