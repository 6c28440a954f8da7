"""What is told together, and what is kept quiet. Pure; times are told.

Read `labels` (what an alert is), `matching` (what is asked of labels), `alert` (its life), `routing` (where it goes),
`grouping` (when a group of them is told, and why), `silences` and `inhibition` (what is not), and `preview`, which
plays all of it. The rules and times are Alertmanager's, so that what people know of that holds here; where they differ,
the difference is told beside them.
"""
