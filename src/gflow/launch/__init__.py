"""Starting jobs: the launcher protocol, the wrapper script, tmux, and finding a job's processes."""
