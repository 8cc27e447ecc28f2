"""What is here but no test: a program of an environment of its own."""

collect_ignore = ["franka_controller.py"]
