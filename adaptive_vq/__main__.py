"""``python -m adaptive_vq``: the same program as the ``adaptive-vq`` command."""

from adaptive_vq.cli import main

if __name__ == "__main__":
    main()
