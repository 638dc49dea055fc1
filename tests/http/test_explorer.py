"""The explorer in a browser, against the whole service, with the network cut."""

import pytest

pytestmark = pytest.mark.usefixtures("graphiql")


async def test_the_explorer_runs_the_list_of_leads(page, server_url, api):
    await api("leads/create", input={"email": "marie.dubois@example.com", "firstName": "Marie", "lastName": "Dubois"})
    await page.go(f"{server_url}/explorer#key={api.key}")
    await page.wait_for("document.querySelector('.bar p').innerText === ''")
    await page.choose(".documents", "leads/list")
    await page.wait_for_text(".graphiql-query-editor", "LeadsList")
    await page.click(".graphiql-execute-button")
    await page.wait_for_text(".result-window", "marie.dubois@example.com")
    assert [request for request in page.requests if not request.startswith((f"{server_url}/", "data:", "blob:"))] == []
    assert page.complaints == []


async def test_the_explorer_says_that_a_key_is_not_known(page, server_url):
    await page.go(f"{server_url}/explorer#key=lg_stale")
    await page.wait_for_text(".bar", "The server does not know this API key")
