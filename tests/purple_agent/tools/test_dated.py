import json
from datetime import date

import pytest

from services.purple_agent.tools.base import ToolError
from services.purple_agent.tools.dated import check_not_later

TODAY = date(2024, 6, 30)


@pytest.mark.parametrize(
    "text",
    [
        "2025-06-03",
        "2025-06-03T16:00:00Z",
        "2025-6-3",
        "2025/06/03",
        "2025.06.03",
        "06/03/2025",
        "31.12.2024",
        "June 3, 2025",
        "Jun. 3rd 2025",
        "3 June 2025",
        "the 3rd of June, 2025",
        "Tue, 03 Jun 2025 14:00:00 GMT",
        "20250603T1600",
        json.dumps("closed\n2025-06-03 at 101.5"),
        '{"day": "20250603"}',
        '{"Date": 1748908800}',
        '{"published_at": 1748908800000}',
        json.dumps({"text": json.dumps({"timestamp": 1748908800})}),
    ],
)
def test_a_later_day_is_held_back_however_it_is_written(text: str) -> None:
    with pytest.raises(ToolError, match="after 2024-06-30"):
        check_not_later(text, TODAY)


@pytest.mark.parametrize(
    "text",
    [
        "2024-06-30T23:59:59Z",
        "June 30, 2024",
        "30 June 2024",
        "the plan for 2026",
        "revenue of 1748908800",
        "a volume of 20251103 shares",
        "part number 12025-06-031",
        "2025-13-40",
        '{"date": 1719705600}',
    ],
)
def test_what_is_no_later_day_is_shown(text: str) -> None:
    check_not_later(text, TODAY)
