"""A service that tells the time, with FastAPI and pydantic: the peer of a call between two services."""

import sys
import time

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Question(BaseModel):
    """Nothing is asked but the time."""


class Answer(BaseModel):
    now: float


@app.post("/now")
async def now(question: Question) -> Answer:
    return Answer(now=time.time())


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
