"""The hardware, in Amaranth: the core (`core.Core`), the design around it (`top.Top`), and its emission (`emit`)."""
