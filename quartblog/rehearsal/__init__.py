"""Settings -> an error storm through the real pipeline and a private mail server -> a report with advice."""
