-- | N green threads that sleep.
module Main (main) where

import Control.Concurrent (forkFinally, newEmptyMVar, putMVar, takeMVar, threadDelay)
import Control.Monad (replicateM)
import System.Environment (getArgs)
import System.Exit (ExitCode (ExitFailure), exitWith)
import System.IO (hFlush, hPutStrLn, stderr, stdout)
import Text.Read (readMaybe)

-- | The number of tasks, and for how many microseconds each sleeps.
readArguments :: [String] -> Maybe (Int, Int)
readArguments [tasks] = readArguments [tasks, "10"]
readArguments [tasks, seconds] = do
  count <- readMaybe tasks
  sleep <- readMaybe seconds :: Maybe Double
  if count >= 1 && sleep >= 0 && sleep < 1e9
    then Just (count, round (sleep * 1e6))
    else Nothing
readArguments _ = Nothing

main :: IO ()
main = getArgs >>= maybe usage run . readArguments
  where
    usage = do
      hPutStrLn stderr "usage: haskell N [SLEEP_SECONDS=10]"
      exitWith (ExitFailure 2)

run :: (Int, Int) -> IO ()
run (count, sleep) = do
  ends <- replicateM count start
  putStrLn ("started " ++ show count)
  hFlush stdout
  mapM_ takeMVar ends
  putStrLn ("done " ++ show count)
  where
    start = do
      end <- newEmptyMVar
      _ <- forkFinally (threadDelay sleep) (const (putMVar end ()))
      return end
