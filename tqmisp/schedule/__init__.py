"""Doing something again and again: when it is due, how it goes, and who wants to know."""

from tqmisp.schedule.loop import Clock, Schedule
from tqmisp.schedule.state import Result, State, Turn
from tqmisp.schedule.timetable import Timetable

__all__ = ["Clock", "Result", "Schedule", "State", "Timetable", "Turn"]
