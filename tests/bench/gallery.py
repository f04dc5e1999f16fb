"""`gallery.py PORT DELAY_S`: the gallery's API out of a dictionary, as slow as wished, to try the load test on."""

import asyncio
import itertools
import sys

from aiohttp import web


async def serve(port: int, delay_s: float) -> None:
    images: dict[str, dict] = {}
    numbers = itertools.count(1)

    @web.middleware
    async def delayed(request: web.Request, handler) -> web.StreamResponse:
        await asyncio.sleep(delay_s)
        return await handler(request)

    async def get(request: web.Request) -> web.Response:
        image_id = request.match_info["id"]
        image = images.get(image_id, {"id": image_id} if image_id.startswith("seed-") else None)
        return web.json_response(image, status=200 if image else 404)

    async def list_(request: web.Request) -> web.Response:
        user = request.query["userId"]
        return web.json_response({"items": [{"id": f"seed-{user}-{n}"} for n in range(5)], "nextCursor": None})

    async def upload(request: web.Request) -> web.Response:
        image = {**await request.json(), "id": f"img-{next(numbers)}"}
        images[image["id"]] = image
        return web.json_response(image, status=201)

    async def delete(request: web.Request) -> web.Response:
        return web.Response(status=204 if images.pop(request.match_info["id"], None) else 404)

    app = web.Application(middlewares=[delayed])
    app.router.add_get("/images", list_)
    app.router.add_post("/images", upload)
    app.router.add_get("/images/{id}", get)
    app.router.add_delete("/images/{id}", delete)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=75)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
