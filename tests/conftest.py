"""Test runs log warnings and errors only: a failing test shows its own story."""

import logging

import structlog

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
