"""Fixtures that several integration tests share."""

from collections.abc import Iterator

import pytest
from selenium import webdriver

import browsers


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    """One Chromium for all pages of a test process."""
    driver = browsers.start()
    yield driver
    driver.quit()
