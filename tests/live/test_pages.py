"""Pages on a real server: what a request opened is closed with it."""

from tests.live.site import Site


async def test_a_page_leaves_no_connection_to_the_database_behind(site: Site) -> None:
    """In a thread of its own, which ends with the request: nobody could use that connection again."""
    async with site.client() as client:
        before = await site.open_at_rest()
        for _ in range(30):
            assert (await client.send("GET", "/")).status == 200
            assert (await client.send("GET", "/s/not-a-chat/")).status == 404
        await site.until_open_is_no_more_than(before)
