"""What a process tells of itself: lines of its log and traces, each with what it is about.

A leaf that every other folder but the builder may use; it imports none of them.
"""
